#include "support/sandbox_types.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/process.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

TEMPLATE_TEST_CASE("32 threads share one sandbox for mixed calls", "", HF_SANDBOX_TEST_TRANSPORTS) {
  int const calls = hf::testing_support::scaled(10'000, 320);
  std::printf("mixed calls: %d\n", calls);
  auto sb = hf::basic_sandbox<TestType, hf::process_launcher>::create();
  sb.write_file("common", "the same for all");
  std::atomic<int> next{0};
  std::atomic<int> good{0};
  std::mutex mutex;
  std::string first_failure;
  auto const one = [&](int n) {
    auto const name = "file-" + std::to_string(n);
    switch (n % 5) {
      case 0:
        return sb.exec({"echo", name}).out == name + "\n";
      case 1:
        return sb.read_file("common") == "the same for all";
      case 2:
        sb.write_file(name, std::string(static_cast<std::size_t>(n % 1000), 'f'));
        return sb.read_file(name).size() == static_cast<std::size_t>(n % 1000);
      case 3:
        return sb.files().exists("common") && !sb.files().exists(name + "-not");
      default:
        return sb.exec(hf::shell("cat; exit 3"), {.input = name}).out == name;
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 32; ++t)
    threads.emplace_back([&] {
      for (int n = next++; n < calls; n = next++) {
        try {
          if (one(n))
            ++good;
        } catch (std::exception const& e) {
          std::lock_guard const lock(mutex);
          if (first_failure.empty())
            first_failure = e.what();
        }
      }
    });
  for (auto& thread : threads)
    thread.join();
  CAPTURE(first_failure);
  CHECK(good == calls);
}
