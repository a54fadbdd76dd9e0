require ${@'recipes-bsp/grub/tandem-grub.inc' if d.getVar('TANDEM_BOOT') == 'grub' else ''}
