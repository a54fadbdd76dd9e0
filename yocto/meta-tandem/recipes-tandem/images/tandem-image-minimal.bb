SUMMARY = "The smallest image that can be updated"
LICENSE = "Apache-2.0"

inherit core-image tandem_image
