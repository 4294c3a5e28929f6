"""Engines: plug-ins that each do one stage of the pipeline, and the pipeline itself."""
