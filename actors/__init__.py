"""What an actor is, what runs it, and the Kubernetes client and serving sides shared by all."""
