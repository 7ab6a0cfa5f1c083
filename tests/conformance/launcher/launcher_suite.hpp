#ifndef HF_SANDBOX_TESTS_CONFORMANCE_LAUNCHER_SUITE_HPP
#define HF_SANDBOX_TESTS_CONFORMANCE_LAUNCHER_SUITE_HPP

#include "behaviours.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/internal/catch_test_registry.hpp>

#include <string>

namespace hf::conformance {

/// Registers every behaviour for one place of launching.
template <class Place>
bool register_launcher(std::string const& name) {
  for (auto const& b : launcher_behaviours<Place>())
    REGISTER_TEST_CASE(b.run, name + ": " + b.name, "[conformance][launcher][" + name + "]");
  return true;
}

}  // namespace hf::conformance

/// The conformance suite for one launcher: put this at namespace scope in a source file. `Place` is
/// default-constructible, lives for one test case and has
///
///  - `transport_type`, `launcher_type`;
///  - `static std::string unavailable()`: why the tests cannot run here; empty: they can;
///  - `launcher_type launcher()`: a launcher; all of one place see the same machines;
///  - `transport_type transport()`;
///  - `launch_options options()`: what a plain machine needs (an image, ...);
///  - `std::size_t left()`: how many machines, processes, files of this place exist;
///  - `std::vector<std::pair<launch_options, std::string>> refused()`: options that the launcher
///    cannot honour, each with the field's name.
#define HF_SANDBOX_LAUNCHER_SUITE(name, ...)                     \
  [[maybe_unused]] static bool const hf_sandbox_launcher_suite = \
      ::hf::conformance::register_launcher<__VA_ARGS__>(name)

#endif
