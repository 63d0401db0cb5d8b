"""Connections to databases of four engines, which answer one question at a time and are kept from writing."""
