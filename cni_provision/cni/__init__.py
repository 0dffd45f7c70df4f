"""The Container Network Interface, versions 0.1.0 to 1.1.0: what `libcni` and its `pkg/` give Go.

Standard library only, Python ≥ 3.9, nothing else of ours. By noun:

types      values: Result and its parts, CNIError and its codes
values     JSON as Go's decoder reads it; `Config`, a typed view of an object
names      what an id, a network, an interface and a plugin may be called
versions   version numbers, negotiation, the answer to VERSION
results    a Result on the wire, in the shape of each version (and so every conversion)
config     conflists and single configurations, from bytes, files and folders
protocol   what a plugin is told (environment, stdin) and what its answer means    (pure)
invoke     find an executable and run it
cache      what was attached: libcni's own files; locks
runtime    Runtime: ADD, CHECK, DEL, GC, STATUS and VERSION for networks
skel       what a plugin needs: `skel.main(Plugin(...))`
"""
