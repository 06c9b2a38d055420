"""The loops: what operators end in and backends start from."""
