# Tests of the client port and of the services.
