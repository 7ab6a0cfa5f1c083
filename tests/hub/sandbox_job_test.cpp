#include "support/kind_of.hpp"

#include <hf/sandbox/hub/sandbox_request.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace hub = hf::hub;
using hf::errc;
using hf::testing_support::kind_of;

namespace {

hub::job_info job_with(std::vector<std::string> urls) {
  hub::job_info job;
  job.id = "AbC123";
  job.stage = "RUNNING";
  job.expose_urls = std::move(urls);
  return job;
}

hub::sandbox_request made(hf::launch_options const& options) {
  return hub::make_sandbox_request(options, hf::agent_source::official(), "https://huggingface.co",
                                   "hf_secret");
}

}  // namespace

TEST_CASE("a proxy URL is trusted only over https, or on loopback, on the job's own host") {
  CHECK(hub::proxy_url(job_with({"https://abc123--49983.hf.jobs/"}), "https://huggingface.co") ==
        "https://abc123--49983.hf.jobs");
  CHECK(hub::proxy_url(job_with({"https://abc123--80.x", "http://abc123--49983.localhost:8"}),
                       "http://127.0.0.1:1") == "http://abc123--49983.localhost:8");
  for (char const* const bad : {"http://abc123--49983.hf.jobs", "https://evil--49983.hf.jobs",
                                "https://evil.example/abc123--49983.hf.jobs",
                                "https://user@abc123--49983.hf.jobs", "ftp://abc123--49983.hf.jobs",
                                "https://abc123--49983.", "https://xabc123--49983.hf.jobs"}) {
    INFO(bad);
    CHECK(kind_of([&] { (void)hub::proxy_url(job_with({bad}), "https://huggingface.co"); }) ==
          errc::protocol_error);
  }
}

TEST_CASE("before the URL is listed it is computed, but only for huggingface.co") {
  CHECK(hub::proxy_url(job_with({}), "https://huggingface.co") == "https://abc123--49983.hf.jobs");
  CHECK_FALSE(hub::proxy_url(job_with({}), "https://hub.example"));
}

TEST_CASE("sandbox ids are an id, or a namespace and an id; pooled ids are recognised") {
  CHECK(hub::parse_sandbox_id("abc").job == "abc");
  CHECK(hub::parse_sandbox_id("acme.co/abc").name_space == "acme.co");
  for (char const* const pooled : {"abc.1f", "acme/abc.1f"})
    CHECK(kind_of([&] { (void)hub::parse_sandbox_id(pooled); }) == errc::unsupported);
  for (char const* const bad :
       {"", "/", "a/", "/a", "a/b/c", "..", "../x", "a b", "a?b", ".x", "x.", "a.b.c", "./a"}) {
    INFO(bad);
    CHECK(kind_of([&] { (void)hub::parse_sandbox_id(bad); }) == errc::invalid_argument);
  }
}

TEST_CASE("the agent's token is the HMAC that the official client computes") {
  // Python: hmac.new(b"hf_key", b"hf-sandbox:" + nonce, hashlib.sha256).hexdigest()
  CHECK(hub::agent_token("hf_key", "00112233445566778899aabbccddeeff") ==
        "74359149b921611ccec9e2cbc4556bd7aa93c07876818a5f02c8ce192f04d00b");
}

TEST_CASE("a sandbox job has the labels, variables and secrets of the common protocol") {
  hf::launch_options options;
  // Reserved names lose wherever they stand, also in both places.
  options.env = {{"A", "1"}, {"SBX_TOKEN", "evil"}, {"SBX_PORT", "1"}, {"SBX_SOCKET", "/tmp/s"}};
  options.secrets = {{"S", "2"}, {"SBX_HOST_MODE", "1"}, {"SBX_TOKEN", "evil"}, {"SBX_PORT", "1"}};
  options.labels = {{"name", "my-box"}};
  auto const request = made(options);
  auto const body = hub::to_json(request.job);
  CHECK(body["dockerImage"] == "python:3.12");
  CHECK(body["flavor"] == "cpu-basic");
  CHECK(body["timeoutSeconds"] == 86400);
  CHECK(body["expose"] == nlohmann::json{{"ports", {49983}}});
  CHECK(body["environment"] ==
        nlohmann::json{{"A", "1"}, {"SBX_PORT", "49983"}, {"SBX_IDLE_TIMEOUT", "600"}});
  CHECK(body["secrets"] ==
        nlohmann::json{{"S", "2"}, {"SBX_TOKEN", hub::agent_token("hf_secret", request.nonce)}});
  CHECK(body["labels"]["hf-sandbox"] == "1");
  CHECK(body["labels"]["hf-sandbox-mode"] == "dedicated");
  CHECK(body["labels"]["hf-sandbox-nonce"] == request.nonce);
  CHECK(body["labels"]["hf-sandbox-op"] == request.operation);
  CHECK(body["labels"]["name"] == "my-box");
  CHECK(body["volumes"] == nlohmann::json::array({{{"type", "bucket"},
                                                   {"source", "huggingface/sbx-server"},
                                                   {"mountPath", "/.hf-sbx-server"},
                                                   {"readOnly", true}}}));
  CHECK(body["command"][0] == "/bin/sh");
  CHECK(body["command"][1] == "-c");
  CHECK(body["command"].size() == 3);
  CHECK(request.nonce.size() == 32);
  CHECK(body.dump().find("hf_secret") == std::string::npos);
}

TEST_CASE("forwarding the token is the only way that it gets into a job") {
  hf::launch_options options;
  options.forward_hf_token = true;
  options.env = {{"HF_TOKEN", "other"}};
  auto const body = hub::to_json(made(options).job);
  CHECK(body["secrets"]["HF_TOKEN"] == "hf_secret");
  CHECK_FALSE(body["environment"].contains("HF_TOKEN"));
}

TEST_CASE("idle_timeout 0 leaves the watchdog off") {
  hf::launch_options options;
  options.idle_timeout = std::chrono::seconds(0);
  CHECK(made(options).job.environment.count("SBX_IDLE_TIMEOUT") == 0);
}

TEST_CASE("an image of Spaces becomes a space id") {
  for (char const* const image :
       {"hf.co/spaces/a/b", "https://hf.co/spaces/a/b", "huggingface.co/spaces/a/b",
        "https://huggingface.co/spaces/a/b"}) {
    hf::launch_options options;
    options.image = image;
    auto const body = hub::to_json(made(options).job);
    CHECK(body["spaceId"] == "a/b");
    CHECK_FALSE(body.contains("dockerImage"));
  }
}

TEST_CASE("what a job cannot be is refused before anything is sent") {
  auto const kind = [](auto change) {
    hf::launch_options options;
    change(options);
    return kind_of([&] { (void)made(options); });
  };
  using options = hf::launch_options;
  CHECK(kind([](options& o) { o.network = false; }) == errc::unsupported);
  CHECK(kind([](options& o) { o.volumes = {{"bind", "/home", "/data"}}; }) == errc::unsupported);
  CHECK(kind([](options& o) { o.volumes = {{"model", "a/b", "data"}}; }) == errc::invalid_argument);
  CHECK(kind([](options& o) {
          o.volumes = {{"model", "a/b", "/.hf-sbx-server"}};
        }) == errc::invalid_argument);
  CHECK(kind([](options& o) { o.labels = {{"hf-sandbox-mode", "x"}}; }) == errc::invalid_argument);
  CHECK(kind([](options& o) { o.labels = {{"a b", "x"}}; }) == errc::invalid_argument);
  CHECK(kind([](options& o) {
          o.labels = {{"a", std::string(101, 'x')}};
        }) == errc::invalid_argument);
  CHECK(kind([](options& o) { o.timeout = std::chrono::seconds(0); }) == errc::invalid_argument);
  CHECK(kind([](options& o) { o.env = {{"A=B", "x"}}; }) == errc::invalid_argument);
  CHECK(kind([](options& o) {
          o.env = {{"A", "1"}}, o.secrets = {{"A", "2"}};
        }) == errc::invalid_argument);
}

TEST_CASE("an agent source needs a digest") {
  CHECK(kind_of([] { (void)hf::agent_source::url("https://x/y", ""); }) == errc::invalid_argument);
  CHECK(kind_of([] { (void)hf::agent_source::url("https://x/y", std::string(64, 'g')); }) ==
        errc::invalid_argument);
  CHECK(kind_of([] { (void)hf::agent_source::url("/x", std::string(64, 'a')); }) ==
        errc::invalid_argument);
  CHECK(hf::agent_source::url("https://x/y", std::string(64, 'A')).sha256() ==
        std::string(64, 'a'));
}
