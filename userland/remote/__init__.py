"""Who may come in from elsewhere: the certificates and credentials of one kernel, as files in its state folder."""
