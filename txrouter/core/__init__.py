"""The router as pure logic: every decision, and no clock, no I/O, no Twisted and no proton."""
