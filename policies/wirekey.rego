# The default policy. A call that no rule allows is denied. A rule `deny contains "reason" if { … }` denies a call even
# if another rule allows it.
#
# - An agent with the permission for it may list models and call them. models.rego lists the models: all.
# - Only agents with the role "storage" may use what the account stores: files, batches, caches, stored responses. The
#   whole account shares it.
# - The setting `egress` decides on tunnels to other hosts. This policy allows them all.
# - No rule allows the administration of an account, a path that the provider does not document (kind "other"), or
#   telemetry and settings of coding agents (kind "companion").
package wirekey.authz

import data.wirekey.models
import data.wirekey.operations

default allow := false

allow if {
	input.kind == "listing"
	"web:read" in input.agent.permissions
}

# A program with an account of its own signs in.
allow if {
	input.kind == "login"
	"web:read" in input.agent.permissions
}

allow if {
	input.kind == "inference"
	"web:write" in input.agent.permissions
}

allow if {
	input.kind == "storage"
	input.agent.role == "storage"
	permitted_to_store
}

permitted_to_store if {
	input.method == "GET"
	"web:read" in input.agent.permissions
}

permitted_to_store if "web:write" in input.agent.permissions

# Tunnels to hosts that are not a provider's, if the setting egress allows them.
allow if input.operation == "tunnel"

deny contains sprintf("The model %s is not among those that may be called.", [asked]) if {
	asked := input.model
	not strings.any_prefix_match(asked, models.allowed)
}

deny contains sprintf("The model %s is not among those that may be called.", [other]) if {
	some other in input.other_models
	not strings.any_prefix_match(other, models.allowed)
}

# Without a model in the request, the call could use any model: through a batch file, a stored prompt, a stored agent or
# the provider's default.
deny contains "The call does not say which model it is for, and not every model may be called." if {
	not input.model
	not "" in models.allowed
	input.kind in {"inference", "storage", "other"}
	not input.method in {"GET", "DELETE"}
	not input.operation in operations.without_model
}
