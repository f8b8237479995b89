"""Mathematical programs for device placement, as PuLP models or arrays; no solver, no files, no command line.

They see of ``placer`` what an instance, a plan and a reduced problem are (`placer.instance`, `placer.plans`,
`placer.reductions`) and the small modules that these are made of; never a solver nor a method.
"""
