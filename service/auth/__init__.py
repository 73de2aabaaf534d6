"""Who may call: for now the loopback rule. Keys, tenants and quotas have their home here."""
