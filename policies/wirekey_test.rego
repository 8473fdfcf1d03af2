# Run by `opa test policies/`, and by Wirekey's own tests.
package wirekey.authz_test

import data.wirekey.authz

agent := {"id": "alice", "role": "developer", "permissions": ["web:read", "web:write"]}

reader := {"id": "bob", "permissions": ["web:read"]}

keeper := {"id": "carol", "role": "storage", "permissions": ["web:read", "web:write"]}

test_agents_may_call_models if {
	authz.allow with input as {"operation": "chat.completions", "action": "POST", "agent": agent}
	authz.allow with input as {"operation": "generateContent", "action": "POST", "agent": agent}
	authz.allow with input as {"operation": "converse-stream", "action": "POST", "agent": agent}
}

test_who_may_only_read_may_list_models_but_not_call_them if {
	authz.allow with input as {"operation": "models.list", "action": "GET", "agent": reader}
	not authz.allow with input as {"operation": "messages", "action": "POST", "agent": reader}
}

test_nobody_may_do_nothing if {
	not authz.allow with input as {"operation": "models.list", "action": "GET"}
	not authz.allow with input as {"operation": "models.list", "action": "GET", "agent": {"permissions": []}}
}

test_files_and_batches_are_for_the_role_storage if {
	not authz.allow with input as {"operation": "files.list", "action": "GET", "agent": agent}
	not authz.allow with input as {"operation": "batches.create", "action": "POST", "agent": agent}
	authz.allow with input as {"operation": "files.list", "action": "GET", "agent": keeper}
	authz.allow with input as {"operation": "batches.create", "action": "POST", "agent": keeper}
}

test_unknown_operations_are_for_nobody if {
	not authz.allow with input as {"operation": "organization.users.list", "action": "GET", "agent": keeper}
	not authz.allow with input as {"action": "GET", "agent": keeper}
}
