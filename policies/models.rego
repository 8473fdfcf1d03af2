# The models that agents may call, as a set of prefixes of their names. "" is a prefix of every name.
#
# A request can name other models beside the one that it asks for, such as fallbacks. Each of them must be allowed, too.
package wirekey.models

allowed := {""}
