"""ECS as the runbook sees it: facts, verdicts, reasons."""
