// The numbers of 16 bits, by the names of CUDA's headers, with the conversions that kernels use.  Conversions from
// float round to the nearest, halves to even.
#pragma once
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 v) {
  const uint32_t bits = static_cast<uint32_t>(v.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

inline __nv_bfloat16 __float2bfloat16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  if (v != v) return {static_cast<uint16_t>(0x7fff)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline float __half2float(__half v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000) << 16, magnitude = v.bits & 0x7fff;
  // by 2^112 a half's exponent becomes a float's; those of infinity and NaN need the rest
  uint32_t bits = magnitude << 13;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  wide *= 0x1p112f;
  if (magnitude >= 0x7c00) {
    bits = 0x7f800000u | magnitude << 13;
    std::memcpy(&wide, &bits, sizeof wide);
  }
  std::memcpy(&bits, &wide, sizeof bits);
  bits |= sign;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

inline __half __float2half(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  uint32_t found;
  if (bits > 0x7f800000)
    found = 0x7fff;
  else if (bits >= 0x477ff000)  // 65520 and above
    found = 0x7c00;
  else if (bits >= 0x38800000)
    found = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
  else {  // denormals: adding 1/2 leaves their bits at the end, rounded
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude += 0.5f;
    std::memcpy(&found, &magnitude, sizeof found);
    found -= 0x3f000000;
  }
  return {static_cast<uint16_t>(sign | found)};
}
