"""Report Arena: systems compared in pairs on the same study, and rated by the verdicts."""
