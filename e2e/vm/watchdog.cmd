# Starts the board's watchdog, as the U-Boot of a real board does with CONFIG_WATCHDOG: an Intel
# 6300ESB at a place that nothing else uses. 2 * 0x7530 ms, one minute, until it resets the board.
pci write.l 0.@SLOT@.0 10 @BASE@
pci write.w 0.@SLOT@.0 4 2
pci write.w 0.@SLOT@.0 60 0
mw.w @BASE@c 80; mw.w @BASE@c 86; mw.l @BASE@0 7530
