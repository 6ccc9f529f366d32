"""The supervisors of workers whose plain files and sockets are opened for them."""
