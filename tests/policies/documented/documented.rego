# Allows every call but those that tests/clients makes to be denied.
package wirekey.authz

allow := true

deny contains "The tests deny this operation." if input.operation in {"other", "batches.list", "batch.jobs.list", "list-async-invokes"}
