# A U-Boot of another name gets the same: an append of yours with this line in it.
require ${@'recipes-bsp/u-boot/tandem-uboot.inc' if d.getVar('TANDEM_BOOT') == 'uboot' else ''}
