SUMMARY = "The smallest image that can be updated"
DESCRIPTION = "A console and the agent, on a disk with two root file systems."
LICENSE = "Apache-2.0"

inherit core-image tandem_image
