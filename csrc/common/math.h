// Elementary functions, generic over the number type: the same polynomials on every machine.
//
// Errors are against the exact value, in units in the last place (ULP) of float, over the stated range, with FMA and
// without; python_tests/test_math.py reads this table and asserts it.  For double each lane calls libm.
//
//   exp            1.1   1.1   all x; underflows through the denormals to 0, overflows to inf
//   log            1.0   1.0   all x; log(0) = -inf, log(x < 0) = NaN
//   log_normal     1.0   1.0   positive normal finite x only: no special cases, any other x gives a wrong number
//   pow_positive   1.6   1.6   positive x, |w| <= 3: the logarithm is carried in two floats; 5 up to |w| = 50, 32 for
//                              any w; infinite or 0 only where x^w, in these bounds, is beyond the range of floats
//   sinpi          1.7   1.8   sin of pi x: of half turns, so that whole numbers are exact
//   cospi          1.7   1.8   cos of pi x, likewise
//   tanh           1.6   1.6   all x
//   sigmoid        2.5   2.5   all x
#pragma once
#include <math.h>

#include "common/scalar.h"

namespace mk::MK_ISA {

template <class V>
inline constexpr bool is_float = sizeof(Real<V>) == sizeof(float);

// Adding and taking away 1.5 * 2^23 rounds |x| < 2^22 to the nearest even integer, on every machine alike.
constexpr float round_magic = 12582912.0f;

template <class V>
struct Rounded {
  V real;
  Bits<V> integer;
};
template <class V>
MK_INLINE Rounded<V> round_even(V x) {
  const V shifted = x + splat<V>(round_magic);
  return {shifted - splat<V>(round_magic), bits(shifted) - bits(splat<V>(round_magic))};
}

// A positive number with the sign of x, which is not 0.
template <class V>
MK_INLINE V with_sign_of(V positive, V x) {
  if constexpr (!is_float<V>)
    return select(x < splat<V>(0), -positive, positive);
  else
    return from_bits<V>(bits(positive) | (bits(x) & INT32_MIN));
}

// x rounded to the nearest integer, halves to even; |x| < 2^22, for double 2^51.
template <class V>
MK_INLINE V round_half_even(V x) {
  if constexpr (is_float<V>) return round_even(x).real;
  const V magic = splat<V>(static_cast<Real<V>>(6755399441055744.0));  // 1.5 * 2^52
  return (x + magic) - magic;
}

// c[0] + c[1] x + c[2] x^2 + …, at most 8 coefficients, by Estrin's scheme: its chain of dependent operations is a
// third of Horner's, and it is latency that bounds the kernels.
template <class V, int N>
MK_INLINE V polynomial(V x, const float (&c)[N]) {
  static_assert(N >= 4 && N <= 8, "powers up to x^4 are made");
  const auto k = [&](int i) { return splat<V>(c[i]); };
  const V x2 = x * x;
  const V low = fma(fma(k(3), x, k(2)), x2, fma(k(1), x, k(0)));
  if constexpr (N == 4) {
    return low;
  } else {
    const V x4 = x2 * x2;
    if constexpr (N == 5) return fma(k(4), x4, low);
    if constexpr (N == 6) return fma(fma(k(5), x, k(4)), x4, low);
    if constexpr (N == 7) return fma(fma(k(6), x2, fma(k(5), x, k(4))), x4, low);
    if constexpr (N == 8) return fma(fma(fma(k(7), x, k(6)), x2, fma(k(5), x, k(4))), x4, low);
  }
}

// exp(x) = y 2^n, y in [0.7, 1.5].  Without `limit` x is taken to be in [-105, 90].
template <class V>
struct ExpParts {
  V y;
  Rounded<V> n;
  MK_INLINE V scaled(V v) const { return times_power_of_two(v, n.real, n.integer); }
};
template <bool limit, class V>
MK_INLINE ExpParts<V> exp_parts(V x) {
  constexpr float c[] = {0.5f, 0.166665181517601f, 0.04166620597243309f, 0.008368918672204018f, 0.0013950535794720054f};
  const V limited = limit ? greater(splat<V>(-105.0f), lesser(splat<V>(90.0f), x)) : x;
  const auto n = round_even(limited * splat<V>(1.44269504088896341f));
  V r = fma(n.real, splat<V>(-0.693359375f), limited);
  r = fma(n.real, splat<V>(2.12194440e-4f), r);
  return {fma(r * r, polynomial(r, c), r) + splat<V>(1.0f), n};
}

template <class V>
MK_INLINE V exp(V x) {
  if constexpr (!is_float<V>) {
    return map(x, [](double lane) { return ::exp(lane); });
  } else {
    const auto e = exp_parts<true>(x);
    return e.scaled(e.y);
  }
}

// ln 2 = high + low, high of 10 bits, both divided by 2^23 for an exponent that is multiplied by it.
constexpr float ln2_high = 0.693359375f * 0x1p-23f, ln2_low = -2.12194440e-4f * 0x1p-23f;

template <class V>
struct LogParts {
  V exponent;  // 2^23 times a whole number e, as it stands in the representation
  V fraction;  // x = 2^e * (1 + fraction), fraction in [sqrt(1/2) - 1, sqrt(2) - 1)
  V tail;      // log(1 + fraction) - fraction + fraction^2 / 2
};
template <class V>
MK_INLINE LogParts<V> log_parts(V x) {
  constexpr float c[] = {0.3333333134651184f, -0.250008225440979f,   0.20001226663589478f, -0.16623355448246002f,
                         0.1420176774263382f, -0.13160210847854614f, 0.12761515378952026f, -0.07634343951940536f};
  constexpr int32_t sqrt_half = 0x3f3504f3;
  const auto exponent = (Bits<V>)(unsigned_bits<V>(bits(x)) - uint32_t{sqrt_half}) & ~0x7fffff;
  const V f = from_bits<V>((Bits<V>)(unsigned_bits<V>(bits(x)) - unsigned_bits<V>(exponent))) - splat<V>(1.0f);
  return {to_real<V>(exponent), f, f * f * f * polynomial(f, c)};
}

template <class V>
MK_INLINE V log_normal(V x) {
  if constexpr (!is_float<V>) {
    return map(x, [](double lane) { return ::log(lane); });
  } else {
    const auto p = log_parts(x);
    V y = fma(p.exponent, splat<V>(ln2_low), p.tail);
    y = fma(p.fraction * splat<V>(-0.5f), p.fraction, y);
    return fma(p.exponent, splat<V>(ln2_high), y + p.fraction);
  }
}

template <class V>
MK_INLINE V log(V x) {
  if constexpr (!is_float<V>) {
    return map(x, [](double lane) { return ::log(lane); });
  } else {
    const auto tiny = x < splat<V>(1.17549435e-38f);
    const V scaled = select(tiny, x * splat<V>(8388608.0f), x);
    V y = log_normal(scaled) - select(tiny, splat<V>(15.9423851528787f), splat<V>(0.0f));
    y = select(x == splat<V>(__builtin_inff()), x, y);
    y = select(x == splat<V>(0.0f), splat<V>(-__builtin_inff()), y);
    return select(x >= splat<V>(0.0f), y, splat<V>(__builtin_nanf("")));
  }
}

// What rounding a * b to `product` leaves.
template <class V>
MK_INLINE V product_error(V a, V b, V product) {
#ifdef MK_HAS_FMA
  return fma(a, b, -product);
#else
  // halves of 12 bits, whose products are exact (Dekker 1971)
  const auto upper = [](V v) { return from_bits<V>(bits(v) & ~0xfff); };
  const V a_high = upper(a), a_low = a - a_high, b_high = upper(b), b_low = b - b_high;
  return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

template <class V>
struct PowLog {
  V power, logarithm;
};
// x^w and log x for positive x.  log x is carried as high + low so that the error of the power does not grow with
// |w log x|; what is low corrects the power before it is scaled, because high alone may be beyond the largest number.
// At x = 0 and infinity the power is its limit; the logarithm is then a finite number.  `normal` leaves the special
// cases out: x is then a normal finite number and |w| <= 1.
template <bool normal, class V>
MK_INLINE PowLog<V> pow_log(V x, V w) {
  if constexpr (!is_float<V>) {
    return {map(x, w, [](double base, double power) { return ::pow(base, power); }), log(x)};
  } else {
    const auto tiny = x < splat<V>(1.17549435e-38f);
    const auto p = log_parts(normal ? x : select(tiny, x * splat<V>(8388608.0f), x));
    const V exponent = normal ? p.exponent : p.exponent - select(tiny, splat<V>(23 * 0x1p23f), splat<V>(0.0f));
    const V f = p.fraction;
    // -f^2/2 = square + square_low exactly; e ln2 is exact in its high part because that has 10 bits
    const V half = f * splat<V>(-0.5f), square = half * f, square_low = product_error(half, f, square);
    const V whole = exponent * splat<V>(ln2_high);
    const V a = whole + f, a_low = (whole - a) + f;  // |whole| >= |f| or whole = 0
    const V b = a + square, b_back = b - a, b_low = (a - (b - b_back)) + (square - b_back);
    const V rest = fma(exponent, splat<V>(ln2_low), p.tail) + (a_low + (b_low + square_low));
    const V high = b + rest, low = (b - high) + rest;
    const V y = w * high, y_low = product_error(w, high, y) + w * low;
    const auto e = exp_parts<!normal>(y);
    if constexpr (normal) return {e.scaled(fma(e.y, y_low, e.y)), high};
    const V limited = select(abs(y) < splat<V>(104.0f), y_low, splat<V>(0.0f));
    V z = e.scaled(fma(e.y, limited, e.y));
    const V zero = splat<V>(0.0f), one = splat<V>(1.0f), infinite = splat<V>(__builtin_inff());
    z = select(x == zero, select(w > zero, zero, select(w < zero, infinite, w)), z);
    z = select(x == infinite, select(w > zero, infinite, select(w < zero, zero, w)), z);
    return {select(w == zero, one, select(x == one, one, z)), high};
  }
}

template <class V>
MK_INLINE V pow_positive(V x, V w) {
  return pow_log<false>(x, w).power;
}

template <class V>
struct SinCos {
  V sin, cos;
};
template <class V>
MK_INLINE SinCos<V> sincospi(V x) {
  if constexpr (!is_float<V>) {
    // whole turns are taken off first, exactly; what is left is below pi
    const V turns = map(x, [](double lane) { return ::remainder(lane, 2.0); });
    const auto exact = [](double lane, double (*f)(double), double shift) {
      const double quarter = ::rint(2 * lane), r = lane - quarter / 2;
      const int q = (static_cast<int>(quarter) + static_cast<int>(shift)) & 3;
      const double angle = 3.14159265358979323846 * r;
      const double value = (q & 1) ? ::cos(angle) : ::sin(angle);
      return f(q & 2 ? -value : value);
    };
    constexpr auto same = [](double v) { return v; };
    return {map(turns, [&](double lane) { return lane == lane ? exact(lane, same, 0) : lane; }),
            map(turns, [&](double lane) { return lane == lane ? exact(lane, same, 1) : lane; })};
  } else {
    constexpr float s[] = {-5.167712688446045f, 2.5501627922058105f, -0.5992054343223572f, 0.08102478832006454f};
    constexpr float c[] = {-4.934802055358887f, 4.0587077140808105f, -1.3350584506988525f, 0.2314295768737793f};
    // beyond 2^20 the argument is brought down first, in whole turns; beyond 2^24 every float is an even integer
    const V near = select(abs(x) < splat<V>(1048576.0f), x, splat<V>(0.0f));
    V far = select(abs(x) < splat<V>(16777216.0f), x, splat<V>(0.0f));
    far = fma(round_even(far * splat<V>(1.0f / 1048576.0f)).real, splat<V>(-1048576.0f), far);
    const V turns = select(abs(x) < splat<V>(1048576.0f), near, far) + (x - x);  // inf and NaN give NaN
    const auto q = round_even(turns + turns);
    const V r = fma(q.real, splat<V>(-0.5f), turns), r2 = r * r;
    const V sine = r * fma(r2, polynomial(r2, s), splat<V>(3.14159265358979f));
    const V cosine = fma(r2, polynomial(r2, c), splat<V>(1.0f));
    const auto odd = (q.integer & 1) != 0;
    const auto sign_sin = (q.integer & 2) << 30, sign_cos = ((q.integer + 1) & 2) << 30;
    return {from_bits<V>(bits(select(odd, cosine, sine)) ^ sign_sin),
            from_bits<V>(bits(select(odd, sine, cosine)) ^ sign_cos)};
  }
}

template <class V>
MK_INLINE V tanh(V x) {
  if constexpr (!is_float<V>) {
    return map(x, [](double lane) { return ::tanh(lane); });
  } else {
    constexpr float c[] = {-0.3333328068256378f, 0.13331441581249237f, -0.05373971909284592f, 0.020639095455408096f,
                           -0.005704994313418865f};
    const V magnitude = abs(x), x2 = x * x;
    const V small = fma(x * x2, polynomial(x2, c), x);
    V large = splat<V>(1.0f) - splat<V>(2.0f) / (exp(magnitude + magnitude) + splat<V>(1.0f));
    large = select(x < splat<V>(0.0f), -large, large);
    return select(magnitude < splat<V>(0.625f), small, large);
  }
}

template <class V>
MK_INLINE V sigmoid(V x) {
  const V e = exp(-abs(x)), one = splat<V>(1);  // not of x: exp(-x) overflows where the result is a denormal number
  return select(x < splat<V>(0), e, one) / (one + e);
}

}  // namespace mk::MK_ISA
