"""Policies tried without a router: the core and the policies themselves, on a clock that takes no time.

`scenario` says what happens, `world` has it happen, `outcome` is what came of it, and `report` shows that.
"""
