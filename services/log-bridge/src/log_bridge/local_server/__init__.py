"""An MCP server over stdio that searches the JSON-lines logs of Sluice's own services with a Lucene query."""
