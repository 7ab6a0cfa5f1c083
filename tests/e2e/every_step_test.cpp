#include "support/sandbox_types.hpp"

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/process.hpp>
#include <hf/sandbox/testing/fault_transport.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>

using hf::errc;
using hf::testing::fail_at_every_step;
using hf::testing::fault;
using hf::testing::fault_transport;

namespace {

/// What a broken connection may come out as, wherever it breaks.
void check_typed(std::string const& what, std::uint64_t step, hf::error const& e) {
  CAPTURE(what, step, e.what());
  CHECK((e.kind() == errc::connect_failed || e.kind() == errc::connection_lost ||
         e.kind() == errc::outcome_unknown || e.kind() == errc::launch_failed ||
         e.kind() == errc::start_timed_out));
}

}  // namespace

TEMPLATE_TEST_CASE("operations fail at every step with a typed error and leave nothing behind", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  using transport = fault_transport<TestType>;
  using sandbox = hf::basic_sandbox<transport, hf::process_launcher>;
  using client = typename sandbox::client_type;
  hf::launch_options options;
  options.labels = {{"test", "every-step-" + std::string(hf::traits_of<TestType>().name)}};

  for (auto const kind : {fault::drop, fault::truncate}) {
    transport through;
    auto const shared = std::make_shared<client>(hf::process_launcher{}, through);

    auto const starts = fail_at_every_step(
        through, kind, [&] { sandbox::create(shared, options).terminate(); },
        [&](std::uint64_t step, hf::error const& e) { check_typed("create", step, e); });
    CHECK(starts >= 1);
    CHECK(sandbox::list(shared, options.labels).empty());

    auto sb = sandbox::create(shared, options);
    std::string const content(100'000, 'c');
    auto const visit = [&](char const* what, auto operation) {
      auto const steps = fail_at_every_step(
          through, kind, operation,
          [&](std::uint64_t step, hf::error const& e) { check_typed(what, step, e); });
      CAPTURE(what);
      CHECK(steps >= 3);
    };
    int runs = 0;
    visit("exec", [&] {
      ++runs;
      CHECK(sb.exec(hf::shell("echo x >> count; printf hello")).out == "hello");
    });
    visit("write", [&] { sb.write_file("file", content); });
    CHECK(sb.read_file("file") == content);
    visit("read", [&] { CHECK(sb.read_file("file") == content); });
    visit("list", [&] { CHECK(sb.files().list(".").size() >= 2); });
    // A command whose answer was lost is never run a second time.
    CHECK(sb.exec(hf::shell("wc -l < count")).out.size() >= 2);
    CHECK(std::stoi(sb.exec(hf::shell("wc -l < count")).out) <= runs);
    sb.terminate();
    CHECK(sandbox::list(shared, options.labels).empty());
  }
}
