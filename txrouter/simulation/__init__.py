"""Policies tried without a router: the core and the policies themselves, on a clock that takes no time.

`scenario` says what happens, and `traces` has it from what was recorded; `world` has it happen, to the clients of
`clients`, and `ideal` what nobody can know in advance how to do better. `outcome` is what came of it; `report` and
`chart` show that.
"""
