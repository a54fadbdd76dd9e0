# Starts the board's watchdog, as the U-Boot of a real board does with CONFIG_WATCHDOG: an Intel
# 6300ESB at a place that nothing else uses. 2 * 0xafc8 ms, one and a half minutes, until it resets
# the board. Registers: Intel 6300ESB ICH datasheet, chapter 16; two writes unlock each timer.
pci enum
pci write.l 0.@SLOT@.0 10 @BASE@0
pci write.w 0.@SLOT@.0 4 2
pci write.w 0.@SLOT@.0 60 0
mw.w @BASE@c 80; mw.w @BASE@c 86; mw.l @BASE@0 afc8
mw.w @BASE@c 80; mw.w @BASE@c 86; mw.l @BASE@4 afc8
pci write.b 0.@SLOT@.0 68 2
