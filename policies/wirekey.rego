# The default policy: what no rule allows is denied. `deny contains "reason" if { … }` denies in spite of all rules.
#
# Agents may list models and call them, with the permission for it.
# Files, batches, caches and stored answers belong to the whole account, other agents' among them: for the role
# "storage" only. Whatever else there is (account and administration endpoints, unknown operations) has no rule.
# Which models may be called, models.rego says: all.
package wirekey.authz

import data.wirekey.models
import data.wirekey.operations

default allow := false

allow if {
	input.operation in operations.listing
	"web:read" in input.agent.permissions
}

allow if {
	input.operation in operations.inference
	"web:write" in input.agent.permissions
}

allow if {
	input.operation in operations.storage
	input.agent.role == "storage"
	permitted_to_store
}

permitted_to_store if {
	input.action == "GET"
	"web:read" in input.agent.permissions
}

permitted_to_store if "web:write" in input.agent.permissions

deny contains sprintf("The model %s is not among those that may be called.", [asked]) if {
	asked := input.model
	not strings.any_prefix_match(asked, models.allowed)
}

deny contains sprintf("The model %s is not among those that may be called.", [other]) if {
	some other in input.other_models
	not strings.any_prefix_match(other, models.allowed)
}

# A file of calls, a stored prompt or the provider's usual choice could mean any model.
deny contains "The call does not say which model it is for, and not every model may be called." if {
	input.operation in (operations.inference | {"batches.create"})
	not input.model
	not "" in models.allowed
}
