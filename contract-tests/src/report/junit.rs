//! The report as JUnit XML, which every CI shows.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Xml, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::rule::Chapter;
use crate::run::Outcome;

/// The document: a suite for each chapter. Credentials are taken out by whoever writes it.
///
/// # Errors
/// When it cannot be written as XML.
pub fn xml(report: &Report) -> Result<String, String> {
    let mut xml = Xml::new("miosa-contract");
    xml.set_time(Duration::from_secs_f64(report.seconds));
    for chapter in Chapter::ALL {
        let mut suite = TestSuite::new(chapter.title());
        for entry in report.entries.iter().filter(|entry| entry.rule.chapter == chapter) {
            let status = match &entry.outcome {
                Outcome::Kept => TestCaseStatus::success(),
                Outcome::Broken { finding } => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status
                        .set_message(format!("expected {}, got {}", finding.expected, finding.got));
                    status.set_type(entry.rule.level.word());
                    status.set_description(super::terminal::finding(finding));
                    status
                }
                Outcome::Unable { why } => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                    status.set_message(why.clone());
                    status
                }
                Outcome::Skipped { why } => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(why.clone());
                    status
                }
            };
            let name = format!("{} {}", entry.rule.id, entry.rule.sentence);
            let mut case = TestCase::new(name, status);
            case.set_classname(format!("contract.{}", chapter.slug()));
            case.set_time(Duration::from_secs_f64(entry.seconds));
            case.add_property(("seed", entry.seed.to_string().as_str()));
            suite.add_test_case(case);
        }
        if suite.tests > 0 {
            xml.add_test_suite(suite);
        }
    }
    xml.to_string().map_err(|error| error.to_string())
}
