# For tests that are not about policy: whoever is known may do everything.
package wirekey.authz

allow := true
