#ifndef HF_SANDBOX_TESTS_HUB_PATIENCE_HPP
#define HF_SANDBOX_TESTS_HUB_PATIENCE_HPP

#include <chrono>

/// How long these tests wait for what has to happen; only failures take that long.
inline constexpr std::chrono::seconds long_enough{60};

#endif
