# The models that may be called, by the beginnings of their names; "" is the beginning of every name.
#
# A request can name more models than the one that it asks for: to fall back to, to advise, to draw. All of them count.
package wirekey.models

allowed := {""}
