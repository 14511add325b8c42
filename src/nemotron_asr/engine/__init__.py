"""The only owner of time and state: streams, the rows they live in, and the step that advances them."""
