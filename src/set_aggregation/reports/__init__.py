"""Figures and pages made of plain numbers."""
