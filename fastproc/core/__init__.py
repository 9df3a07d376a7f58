"""Pure decisions: values in, values out. No clock, no dice, no environment, no await."""
