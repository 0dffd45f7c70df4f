/* What it costs to execute anything. */
int main(void) { return 0; }
