# The tests of the default policy. `opa test policies/` runs them. Wirekey runs them whenever it loads the policy, and
# does not use the policy if one fails. They replace the lists of models and operations with their own, so they hold
# however you edit these lists.
package wirekey.authz_test

import data.wirekey.authz

agent := {"id": "alice", "role": "developer", "permissions": ["web:read", "web:write"]}

reader := {"id": "bob", "permissions": ["web:read"]}

keeper := {"id": "carol", "role": "storage", "permissions": ["web:read", "web:write"]}

test_agents_may_call_models if {
	authz.allow with input as {"operation": "chat.completions", "kind": "inference", "method": "POST", "agent": agent}
	authz.allow with input as {"operation": "generateContent", "kind": "inference", "method": "POST", "agent": agent}
	authz.allow with input as {"operation": "converse-stream", "kind": "inference", "method": "POST", "agent": agent}
}

test_a_reader_may_list_models_but_not_call_them if {
	authz.allow with input as {"operation": "models.list", "kind": "listing", "method": "GET", "agent": reader}
	not authz.allow with input as {"operation": "messages", "kind": "inference", "method": "POST", "agent": reader}
}

test_a_program_may_sign_in_with_its_own_account if {
	authz.allow with input as {"operation": "oauth.token", "kind": "login", "method": "POST", "agent": reader}
	not authz.allow with input as {"operation": "oauth.token", "kind": "login", "method": "POST"}
}

test_without_permissions_nothing_is_allowed if {
	not authz.allow with input as {"operation": "models.list", "kind": "listing", "method": "GET"}
	not authz.allow with input as {"operation": "models.list", "kind": "listing", "method": "GET", "agent": {"permissions": []}}
}

test_files_and_batches_need_the_role_storage if {
	not authz.allow with input as {"operation": "files.list", "kind": "storage", "method": "GET", "agent": agent}
	not authz.allow with input as {"operation": "batches.create", "kind": "storage", "method": "POST", "agent": agent}
	authz.allow with input as {"operation": "files.list", "kind": "storage", "method": "GET", "agent": keeper}
	authz.allow with input as {"operation": "batches.create", "kind": "storage", "method": "POST", "agent": keeper}
}

test_administration_and_other_paths_are_denied if {
	not authz.allow with input as {"operation": "other", "kind": "other", "method": "POST", "agent": keeper}
	not authz.allow with input as {"operation": "organization.users.list", "kind": "administration", "method": "GET", "agent": keeper}
	not authz.allow with input as {"method": "GET", "agent": keeper}
}

test_tunnels_are_left_to_egress if {
	authz.allow with input as {"operation": "tunnel", "method": "CONNECT", "upstream": "github.com", "agent": reader}
	count(authz.deny) == 0 with input as {"operation": "tunnel", "method": "CONNECT", "agent": reader}
		with data.wirekey.models.allowed as {"small"}
}

asking := {"operation": "messages", "kind": "inference", "method": "POST", "agent": agent, "model": "small-2"}

test_every_model_may_be_called_if_the_list_has_the_empty_prefix if {
	count(authz.deny) == 0 with input as object.union(asking, {"other_models": ["large-1"]})
		with data.wirekey.models.allowed as {""}
}

test_only_the_models_of_the_list_may_be_called if {
	count(authz.deny) == 0 with input as asking with data.wirekey.models.allowed as {"small", "tiny"}
	count(authz.deny) == 1 with input as asking with data.wirekey.models.allowed as {"large"}
}

test_other_models_that_a_request_names_must_be_on_the_list_too if {
	falling_back := object.union(asking, {"other_models": ["tiny-1", "large-1"]})
	authz.deny == {"The model large-1 is not among those that may be called."} with input as falling_back
		with data.wirekey.models.allowed as {"small", "tiny"}
}

without_model := {"files.create"}

test_a_list_of_models_needs_calls_that_name_one if {
	count(authz.deny) == 1 with input as {"operation": "moderations", "kind": "inference", "method": "POST", "agent": agent}
		with data.wirekey.models.allowed as {"small"}
		with data.wirekey.operations.without_model as without_model
	count(authz.deny) == 1 with input as {"operation": "batches.create", "kind": "storage", "method": "POST", "agent": keeper}
		with data.wirekey.models.allowed as {"small"}
		with data.wirekey.operations.without_model as without_model
	count(authz.deny) == 1 with input as {"operation": "other", "kind": "other", "method": "POST", "agent": keeper}
		with data.wirekey.models.allowed as {"small"}
		with data.wirekey.operations.without_model as without_model
	count(authz.deny) == 0 with input as {"operation": "models.list", "kind": "listing", "method": "GET", "agent": agent}
		with data.wirekey.models.allowed as {"small"}
		with data.wirekey.operations.without_model as without_model
	count(authz.deny) == 0 with input as {"operation": "files.create", "kind": "storage", "method": "POST", "agent": keeper}
		with data.wirekey.models.allowed as {"small"}
		with data.wirekey.operations.without_model as without_model
}
