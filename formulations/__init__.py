"""Mathematical programs for device placement, as arrays; no solver, no files, no command line.

Written row by row in `expressions`, or by the array in `bulk`; `Program.pulp` hands one to PuLP.

They see of ``placer`` what an instance, a plan and a reduced problem are (`placer.instance`, `placer.plans`,
`placer.reductions`) and the small modules that these are made of; never a solver nor a method.
"""
