"""The embedded network: a bridge, an address per pod, masquerade and host ports, with nothing to install.

For one node that stands alone; a cluster's pods need a network plugin.
"""
