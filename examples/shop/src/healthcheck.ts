/** Docker's HEALTHCHECK: the image has Node and needs no curl. */
try {
  const response = await fetch(`http://127.0.0.1:${process.env.PORT ?? 3000}/health`, {
    signal: AbortSignal.timeout(2_000),
  });
  console.log(`GET /health answered ${response.status}`);
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  console.log(`GET /health failed: ${error instanceof Error ? (error.cause ?? error) : error}`);
  process.exitCode = 1;
}
