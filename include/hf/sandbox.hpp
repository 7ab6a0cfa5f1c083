#ifndef HF_SANDBOX_HPP
#define HF_SANDBOX_HPP

/// The whole library: core, launchers, and the libcurl transport with the type most programs use.
///
/// `HF_SANDBOX_NO_CURL` leaves libcurl out; `HF_SANDBOX_USE_BEAST` and `HF_SANDBOX_USE_HTTPLIB` add the
/// other transports, `HF_SANDBOX_TESTING` the test doubles. These macros add or leave out declarations; they change no type.
#include <hf/sandbox/core.hpp>
#include <hf/sandbox/launchers/hf_jobs.hpp>

#if !defined(_WIN32)
#include <hf/sandbox/launchers/docker.hpp>
#endif

#if defined(__linux__)
#include <hf/sandbox/launchers/process.hpp>
#endif

#if !defined(HF_SANDBOX_NO_CURL)
#include <hf/sandbox/aliases.hpp>
#include <hf/sandbox/transports/curl.hpp>
#endif

#if defined(HF_SANDBOX_USE_BEAST)
#include <hf/sandbox/transports/beast.hpp>
#endif

#if defined(HF_SANDBOX_USE_HTTPLIB)
#include <hf/sandbox/transports/httplib.hpp>
#endif

#if defined(HF_SANDBOX_TESTING)
#include <hf/sandbox/testing/fake_sandbox.hpp>
#include <hf/sandbox/testing/fault_transport.hpp>
#include <hf/sandbox/testing/recording_transport.hpp>
#include <hf/sandbox/testing/replay_transport.hpp>
#endif

#endif
