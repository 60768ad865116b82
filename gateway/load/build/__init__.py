"""Files → units, of which unchanged ones are taken over → Blueprint."""
