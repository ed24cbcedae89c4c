/* Fused multiply-adds as fast as the processor makes them: independent chains in registers, nothing else. */

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12 /* two units with a latency of four need eight; twelve fit into sixteen registers */

typedef float Vector __attribute__((vector_size(BYTES)));

/* Returns the operations made: a multiplication and an addition for each lane, chain and round. */
double fused_multiply_adds(long rounds, float* kept) {
  Vector chain[CHAINS], factor, summand;
  for (int lane = 0; lane < BYTES / 4; ++lane) {
    factor[lane] = 0.999f;
    summand[lane] = kept[0];
  }
  for (int i = 0; i < CHAINS; ++i) chain[i] = summand + (float)i;
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) chain[i] = chain[i] * factor + summand;
  }
  Vector sum = chain[0];
  for (int i = 1; i < CHAINS; ++i) sum += chain[i];
  kept[0] = sum[0];
  return 2.0 * (BYTES / 4) * CHAINS * (double)rounds;
}
