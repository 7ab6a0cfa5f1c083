#include "hub/patience.hpp"
#include "support/fake_hub/setup.hpp"
#include "support/kind_of.hpp"

#include <hf/sandbox/aliases.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::fake_hub;
using hf::testing_support::hub_fault;
using hf::testing_support::hub_route;
using hf::testing_support::job_behaviour;
using hf::testing_support::kind_of;
using hf::testing_support::options_for;

namespace {

std::shared_ptr<hf::client> client_for(fake_hub const& hub) {
  return std::make_shared<hf::client>(hf::hf_jobs_launcher(options_for(hub)));
}

}  // namespace

TEST_CASE("a sandbox on a job is created, found again from elsewhere, and ended") {
  fake_hub hub;
  std::string id;
  {
    auto sb = hf::sandbox::create(client_for(hub), {.labels = {{"team", "red"}}});
    sb.write_file("/tmp/kept", "by the machine");
    CHECK(sb.labels() == std::map<std::string, std::string>{{"team", "red"}});
    sb.labels({{"team", "blue"}});
    CHECK(sb.labels().at("team") == "blue");
    int samples = 0;
    sb.metrics([&](hf::hub::job_metrics const&) { return ++samples < 2; });
    CHECK(samples == 2);
    id = sb.release();
  }
  CHECK(hub.live_jobs() == 1);
  auto const client = client_for(hub);
  auto again = hf::sandbox::connect(client, id);
  CHECK(again.read_file("/tmp/kept") == "by the machine");
  CHECK(again.logs().find("listening") != std::string::npos);
  {
    auto other = hf::sandbox::connect(client, "alice/" + id);
    CHECK(other.exec({"cat", "/tmp/kept"}).check().out == "by the machine");
  }
  CHECK(hub.live_jobs() == 1);
  CHECK(hf::sandbox::list(client, {{"team", "blue"}}).size() == 1);
  CHECK(hf::sandbox::list(client, {{"team", "red"}}).empty());
  CHECK(hf::sandbox::terminate_all(client, {{"team", "blue"}}) == 1);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(kind_of([&] { (void)hf::sandbox::connect(client, id); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { (void)hf::sandbox::connect(client, "0123456789abcdef01234567"); }) ==
        errc::not_found);
  CHECK(kind_of([&] { (void)hf::sandbox::connect(client, id + ".1a2b"); }) == errc::unsupported);
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("a job that the Hub ends is told apart from a broken connection") {
  fake_hub hub;
  auto sb = hf::sandbox::create(client_for(hub));
  CHECK(sb.exec({"true"}).ok());
  hub.fail_job(sb.id(), "evicted");
  CHECK(hub.wait_for_no_jobs(long_enough));
  try {
    (void)sb.exec({"true"});
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(std::string(e.what()).find("ended") != std::string::npos);
    CHECK((e.kind() == errc::sandbox_expired || e.kind() == errc::connection_lost));
  }
}

TEST_CASE("a connection that the Jobs proxy resets does not run a command twice") {
  fake_hub hub;
  auto sb = hf::sandbox::create(client_for(hub));
  using kind = hub_fault::kind;
  for (auto const what : {kind::reset, kind::lose_answer, kind::cut}) {
    hub.add_fault({.where = hub_route::proxy, .what = what, .after_bytes = 10});
    auto const r = sb.exec(hf::shell("echo x >> /tmp/count; wc -l < /tmp/count"));
    CHECK(r.ok());
  }
  CHECK(sb.read_file("/tmp/count") == "x\nx\nx\n");
}

TEST_CASE("an agent of the common protocol does all of it, and says what it lacks") {
  fake_hub hub({.common_protocol = true});
  auto sb = hf::sandbox::create(client_for(hub));
  CHECK_FALSE(sb.machine().health->features_known);

  auto const r = sb.exec(hf::shell("echo out; echo err >&2; exit 3"));
  CHECK(r.out == "out\n");
  CHECK(r.err == "err\n");
  CHECK(r.exit_code == 3);
  hf::exec_options in;
  in.input = "from the caller";
  in.env = {{"A", "1"}};
  in.cwd = "/tmp";
  CHECK(sb.exec(hf::shell("cat; echo $A; pwd"), in).check().out == "from the caller1\n/tmp\n");
  hf::exec_options timed;
  timed.timeout = 300ms;
  CHECK(sb.exec({"sleep", "60"}, timed).timed_out);
  CHECK(kind_of([&] { (void)sb.exec({"/no/such/program"}); }) == errc::exec_failed);

  sb.write_file("/tmp/d/f", "content");
  CHECK(sb.read_file("/tmp/d/f") == "content");
  CHECK(kind_of([&] { (void)sb.read_file("/tmp/none"); }) == errc::not_found);
  auto process = sb.spawn({"sleep", "600"});
  CHECK(sb.processes().size() == 1);
  process.kill();

  // What only our agent has is refused by name, not done differently.
  hf::exec_options exact;
  exact.require.push_back("ops");
  CHECK(kind_of([&] { (void)sb.exec({"true"}, exact); }) == errc::unsupported);
  CHECK(kind_of([&] { process.signal(15); }) == errc::unsupported);

  // A lost answer cannot be resumed: nothing runs twice, and the caller is told.
  hub.add_fault({.where = hub_route::proxy, .what = hub_fault::kind::lose_answer});
  auto const lost = kind_of([&] { (void)sb.exec(hf::shell("echo x >> /tmp/once")); });
  CHECK(lost == errc::outcome_unknown);
  // Whether it ran before the connection was gone is open; that it did not run twice is not.
  if (sb.files().exists("/tmp/once"))
    CHECK(sb.read_file("/tmp/once") == "x\n");
  sb.terminate();
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
}
