"""Files → units, those that have not changed taken over → Blueprint."""
