#ifndef HF_SANDBOX_TESTS_CONFORMANCE_LAUNCHER_BEHAVIOURS_HPP
#define HF_SANDBOX_TESTS_CONFORMANCE_LAUNCHER_BEHAVIOURS_HPP

#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hf::conformance {

/// One thing that every launcher does, as a test case.
struct launcher_behaviour {
  std::string name;
  void (*run)();
};

template <class Place>
struct launcher_checks {
  using transport_type = typename Place::transport_type;
  using launcher_type = typename Place::launcher_type;
  using sandbox_type = basic_sandbox<transport_type, launcher_type>;

  Place place = {};
  transport_type through = place.transport();

  static launch_options labelled(launch_options options, std::string const& value) {
    options.labels["conformance"] = value;
    return options;
  }

  template <class Call>
  static errc kind_of(Call&& call) {
    try {
      call();
    } catch (error const& e) {
      UNSCOPED_INFO(e.what());
      return e.kind();
    }
    return errc{};
  }

  /// The status that the agent answers to an exec request with these fields.
  int status_with(endpoint const& to, http::headers fields) {
    auto rq = detail::endpoint_request(to, "GET", "/v1/processes");
    rq.fields = std::move(fields);
    return http::fetch(through, rq).status;
  }

  /// Whether a condition becomes true; machines of real services take their time.
  template <class Condition>
  static bool becomes_true(Condition condition) {
    auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until)
        return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return true;
  }

  bool is_listed(launcher_type& launcher, std::string const& id, label_filter const& filter = {}) {
    auto const all = launcher.list(through, filter);
    return std::any_of(all.begin(), all.end(), [&](auto const& m) { return m.id == id; });
  }

  void launched_machine_answers() {
    auto launcher = place.launcher();
    auto const machine = launcher.launch(through, labelled(place.options(), "one"));
    CHECK_FALSE(machine.id.empty());
    CHECK(machine.phase == phase::running);
    CHECK(machine.labels.at("conformance") == "one");
    REQUIRE(machine.endpoint);
    CHECK(status_with(*machine.endpoint, machine.endpoint->headers) == 200);
    launcher.stop(through, machine.id);
  }

  void agent_wants_its_token() {
    auto launcher = place.launcher();
    auto const machine = launcher.launch(through, place.options());
    auto wrong = machine.endpoint->headers;
    auto const token = std::string(wrong.get(wire::token_header));
    REQUIRE(token.size() >= 32);
    wrong.set(std::string(wire::token_header), std::string(token.size(), '0'));
    CHECK(status_with(*machine.endpoint, wrong) == 403);
    // Nor is the secret to be found where people look.
    CHECK(machine.message.find(token) == std::string::npos);
    for (auto const& label : machine.labels)
      CHECK(label.second.find(token) == std::string::npos);
    CHECK(launcher.logs(through, machine.id).find(token) == std::string::npos);
    launcher.stop(through, machine.id);
  }

  void two_machines_have_different_tokens() {
    auto launcher = place.launcher();
    auto const a = launcher.launch(through, place.options());
    auto const b = launcher.launch(through, place.options());
    CHECK(a.id != b.id);
    CHECK(a.endpoint->headers.get(wire::token_header) !=
          b.endpoint->headers.get(wire::token_header));
    launcher.stop(through, a.id);
    launcher.stop(through, b.id);
  }

  void another_launcher_finds_it() {
    auto launcher = place.launcher();
    auto const machine = launcher.launch(through, labelled(place.options(), "found"));
    auto another = place.launcher();
    auto const found = another.inspect(through, machine.id);
    CHECK(found.id == machine.id);
    CHECK(found.phase == phase::running);
    REQUIRE(found.endpoint);
    CHECK(status_with(*found.endpoint, found.endpoint->headers) == 200);
    CHECK(is_listed(another, machine.id));
    CHECK(is_listed(another, machine.id, {{"conformance", "found"}}));
    CHECK_FALSE(is_listed(another, machine.id, {{"conformance", "other"}}));
    CHECK_FALSE(is_listed(another, machine.id, {{"conformance", "found"}, {"more", "x"}}));
    another.stop(through, machine.id);
    CHECK_FALSE(is_listed(launcher, machine.id));
  }

  void unknown_ids_are_not_found() {
    auto launcher = place.launcher();
    for (std::string const id : {"0123456789abcdef01234567", "no-such-machine", "../../etc", ""}) {
      INFO("id '" << id << "'");
      CHECK(kind_of([&] { (void)launcher.inspect(through, id); }) == errc::not_found);
    }
  }

  void stop_ends_it_and_may_be_repeated() {
    auto launcher = place.launcher();
    auto const machine = launcher.launch(through, place.options());
    CHECK(place.left() > 0);
    launcher.stop(through, machine.id);
    CHECK_FALSE(is_listed(launcher, machine.id));
    auto const kind = kind_of([&] { status_with(*machine.endpoint, machine.endpoint->headers); });
    CHECK((kind == errc::connect_failed || kind == errc::connection_lost ||
           kind == errc::request_timed_out));
    launcher.stop(through, machine.id);
    place.launcher().stop(through, machine.id);
    CHECK(place.left() == 0);
  }

  void commands_get_the_environment() {
    auto options = place.options();
    options.env["CONFORMANCE_PLAIN"] = "a value = with spaces";
    options.secrets["CONFORMANCE_SECRET"] = "a secret";
    auto sb = sandbox_type::create(options, place.launcher(), place.transport());
    auto const r = sb.exec(shell("echo \"$CONFORMANCE_PLAIN|$CONFORMANCE_SECRET|$SBX_TOKEN\""));
    CHECK(r.out == "a value = with spaces|a secret|\n");
  }

  void what_cannot_be_honoured_is_refused() {
    auto launcher = place.launcher();
    for (auto const& [options, field] : place.refused()) {
      INFO("field " << field);
      try {
        (void)launcher.launch(through, options);
        FAIL_CHECK("it was launched");
      } catch (error const& e) {
        CHECK(e.kind() == errc::unsupported);
        CHECK(std::string(e.what()).find(field) != std::string::npos);
      }
    }
    CHECK(place.left() == 0);
  }

  void reserved_names_are_refused() {
    auto launcher = place.launcher();
    auto options = place.options();
    options.env["SBX_TOKEN"] = "mine";
    CHECK(kind_of([&] { (void)launcher.launch(through, options); }) == errc::invalid_argument);
    options = place.options();
    options.secrets["SBX_PORT"] = "1";
    CHECK(kind_of([&] { (void)launcher.launch(through, options); }) == errc::invalid_argument);
    options = place.options();
    options.labels["hf-sandbox"] = "mine";
    CHECK(kind_of([&] { (void)launcher.launch(through, options); }) == errc::invalid_argument);
    CHECK(place.left() == 0);
  }

  void a_cancelled_start_leaves_nothing() {
#if defined(__cpp_lib_jthread)
    auto launcher = place.launcher();
    auto options = place.options();
    std::stop_source source;
    options.stop = source.get_token();
    source.request_stop();
    CHECK(kind_of([&] { (void)launcher.launch(through, options); }) == errc::cancelled);
    CHECK(becomes_true([&] { return place.left() == 0; }));
#else
    SKIP("the standard library has no stop tokens");
#endif
  }

  void a_start_that_takes_too_long_leaves_nothing() {
    auto launcher = place.launcher();
    auto options = place.options();
    options.start_timeout = std::chrono::milliseconds(1);
    CHECK(kind_of([&] { (void)launcher.launch(through, options); }) == errc::start_timed_out);
    CHECK(becomes_true([&] { return place.left() == 0; }));
  }

  void several_threads_launch_at_once() {
    auto launcher = place.launcher();
    std::vector<std::string> ids(4);
    std::vector<std::thread> threads;
    for (auto& id : ids)
      threads.emplace_back([&] {
        try {
          id = launcher.launch(through, place.options()).id;
        } catch (std::exception const& e) {
          id = std::string("failed: ") + e.what();
        }
      });
    for (auto& thread : threads)
      thread.join();
    CHECK(std::set<std::string>(ids.begin(), ids.end()).size() == ids.size());
    for (auto const& id : ids) {
      INFO(id);
      CHECK(is_listed(launcher, id));
      launcher.stop(through, id);
    }
    CHECK(place.left() == 0);
  }

  void an_idle_machine_ends() {
    auto launcher = place.launcher();
    auto options = place.options();
    options.idle_timeout = std::chrono::seconds(1);
    auto const machine = launcher.launch(through, options);
    CHECK(becomes_true([&] { return !is_listed(launcher, machine.id); }));
    launcher.stop(through, machine.id);
    CHECK(becomes_true([&] { return place.left() == 0; }));
  }

  void a_released_machine_outlives_its_launcher() {
    std::string id;
    {
      auto sb = sandbox_type::create(place.options(), place.launcher(), place.transport());
      id = sb.release();
    }
    auto sb = sandbox_type::connect(id, place.launcher(), place.transport());
    CHECK(sb.exec({"echo", "still here"}).out == "still here\n");
    sb.terminate();
    CHECK(place.left() == 0);
  }

  void the_first_program_works() {
    {
      auto sb = sandbox_type::create(place.options(), place.launcher(), place.transport());
      CHECK(sb.exec(shell("echo $((1+1))")).check().out == "2\n");
      sb.write_file("foo.txt", "hello");
      CHECK(sb.read_file("foo.txt") == "hello");
      CHECK(sb.exec(shell("exit 3")).exit_code == 3);
    }
    CHECK(place.left() == 0);
  }
};

/// Runs one check in a place of its own.
template <class Place, void (launcher_checks<Place>::*Check)()>
void run_launcher_check() {
  if (auto const why = Place::unavailable(); !why.empty())
    SKIP(why);
  launcher_checks<Place> now;
  (now.*Check)();
}

template <class Place>
std::vector<launcher_behaviour> launcher_behaviours() {
  using checks = launcher_checks<Place>;
  return {
      {"a launched machine answers", run_launcher_check<Place, &checks::launched_machine_answers>},
      {"the agent wants its token, which is shown nowhere",
       run_launcher_check<Place, &checks::agent_wants_its_token>},
      {"two machines have different tokens",
       run_launcher_check<Place, &checks::two_machines_have_different_tokens>},
      {"another launcher finds a machine by id and labels",
       run_launcher_check<Place, &checks::another_launcher_finds_it>},
      {"unknown ids are not found", run_launcher_check<Place, &checks::unknown_ids_are_not_found>},
      {"stop ends a machine, and may be repeated",
       run_launcher_check<Place, &checks::stop_ends_it_and_may_be_repeated>},
      {"commands get the environment and the secrets",
       run_launcher_check<Place, &checks::commands_get_the_environment>},
      {"what cannot be honoured is refused by name",
       run_launcher_check<Place, &checks::what_cannot_be_honoured_is_refused>},
      {"reserved names are refused",
       run_launcher_check<Place, &checks::reserved_names_are_refused>},
      {"a cancelled start leaves nothing",
       run_launcher_check<Place, &checks::a_cancelled_start_leaves_nothing>},
      {"a start that takes too long leaves nothing",
       run_launcher_check<Place, &checks::a_start_that_takes_too_long_leaves_nothing>},
      {"several threads launch at once",
       run_launcher_check<Place, &checks::several_threads_launch_at_once>},
      {"an idle machine ends", run_launcher_check<Place, &checks::an_idle_machine_ends>},
      {"a released machine outlives its launcher",
       run_launcher_check<Place, &checks::a_released_machine_outlives_its_launcher>},
      {"the first program works", run_launcher_check<Place, &checks::the_first_program_works>},
  };
}

}  // namespace hf::conformance

#endif
