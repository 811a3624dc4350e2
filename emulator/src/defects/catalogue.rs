//! The table of faults: its chapter, where it is made, the rules that it breaks, and what is wrong.
//!
//! Most faults hit one operation or one family, as in real servers: a suite that looks at a single operation, or only at
//! the first, must miss some.

use clap::ValueEnum as _;
use serde::Serialize;

/// Where a fault is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the layer outside of all others, from requests and answers.
    Layer,
    /// At the place that gets it wrong.
    Inside,
}

/// What is known of a fault.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// The chapter of the rules.
    pub chapter: &'static str,
    /// Where it is made.
    pub place: Place,
    /// The rules that it breaks; one of them must say so.
    pub rules: &'static [&'static str],
    /// What is wrong, as a client sees it.
    pub wrong: &'static str,
}

macro_rules! catalogue {
    ($($chapter:literal { $($name:ident $place:ident $($rule:literal)+ => $wrong:literal;)+ })+) => {
        /// A fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
        pub enum Defect { $($(#[doc = $wrong] $name,)+)+ }

        /// All of them.
        pub const ALL: &[Defect] = &[$($(Defect::$name,)+)+];

        impl Defect {
            /// Its row of the table.
            pub fn row(self) -> &'static Row {
                match self {
                    $($(Self::$name => &Row {
                        chapter: $chapter, place: Place::$place, rules: &[$($rule),+], wrong: $wrong,
                    },)+)+
                }
            }
        }
    };
}

impl Defect {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

catalogue! {
"envelopes" {
    BareRecord Layer "ENV-001" => "GET /workspaces/{id} answers the record without `data` around it";
    ListWithoutPage Layer "ENV-003" => "GET /projects has no `page`";
    TotalAsText Layer "ENV-003" => "`page.total` of GET /sandboxes is a text";
    MetaFromZero Layer "ENV-004" => "`meta.page` of GET /api-keys counts from 0, `page.page` from 1";
    StaleTopLevel Layer "ENV-002" => "PATCH /workspaces/{id} answers the new record under `data` and another `updated_at` beside it";
    EmptyWithBody Layer "ENV-005" => "204 comes with a JSON content type and a body";
    SizeAsText Layer "ENV-006" => "`size_bytes` of GET /sandboxes/{id}/snapshots/{snapshot_id} is a text";
    JsonTypedText Layer "ENV-007" => "GET /api-keys/{id} answers JSON typed text/plain";
    OneRequestId Layer "ENV-008" => "every answer carries the same X-Request-ID";
    ThinList Layer "ENV-009" => "the items of GET /sandboxes have no `metadata`, GET /sandboxes/{id} has";
}
"errors" {
    ErrorWithoutRequestId Layer "ERR-001" => "errors have no `error.request_id`";
    ErrorOfAFramework Layer "ERR-001" => "422 of POST /sandboxes/{id}/previews is the framework's {detail: […]}";
    ErrorOtherId Layer "ERR-002" => "`error.request_id` of a 404 is not the header's";
    UnknownPathInPlainText Layer "ERR-003" => "an unknown path is 404 in plain text";
    MethodWithoutAllow Inside "ERR-004" => "405 does not say which methods there are";
    WrongTypeCrashes Inside "ERR-005" => "a field of the wrong type in POST /projects is a 500";
    RefusedButMade Inside "ERR-006" => "POST /workspaces makes the workspace before it looks at all of the body";
    BrokenJsonCrashes Layer "ERR-007" => "a PATCH with a body that is no JSON is a 500";
    NulCrashes Inside "ERR-008" => "NUL in a text is a 500, as from a database that cannot store it";
    BadPercentCrashes Inside "ERR-008" => "a path with a percent-encoded byte that is no UTF-8 is a 500";
    TruncatedIsEmpty Inside "ERR-009" => "a body that breaks off is read as an empty one, and the request is done";
    CodesAsNumbers Layer "ERR-010" => "the code of a 409 is its number";
    ErrorShowsSql Layer "ERR-011" => "404 of /projects/{id} shows the SQL statement that found nothing";
    RetryAfterDisagrees Layer "ERR-012" => "`retry_after` in the body of a 429 is in milliseconds, the header in seconds";
}
"status codes" {
    CreateAnswersOk Layer "STA-001" => "POST /projects answers 200 for what it made";
    PauseAccepted Layer "STA-002" => "POST /sandboxes/{id}/pause answers 202";
    MissingByAnothersName Layer "STA-003" => "an unknown snapshot is 404 with the code of a sandbox";
    DeletedReadable Layer "STA-004" => "GET /projects/{id} answers from a cache after the project is deleted";
    DeletesTwice Layer "STA-005" => "DELETE /api-keys/{id} answers 204 for a key that is gone";
    BadParameterIsMeaning Layer "STA-006" => "a query parameter that is no number is 422";
    TooLargeIsBad Layer "STA-007" => "a body over the limit is 400";
    HeadIsNotThere Layer "STA-008" => "HEAD of what GET answers is 405";
    NotBuiltSaysYes Layer "STA-009" => "a route that is not built answers 200 with an empty record";
    LocationElsewhere Layer "STA-010" => "Location after a create names a path that does not exist";
}
"request format" {
    CamelCase Layer "REQ-001" => "the records of GET /sandboxes/{id}/previews say `createdAt`";
    OtherTypeIsEmpty Layer "REQ-002" => "PATCH /workspaces/{id} reads a body that is not typed JSON as empty, and answers 200";
    SpaceIsNoJson Layer "REQ-003" => "a JSON body of POST /projects that begins with white space is refused";
    OrderMatters Layer "REQ-003" => "POST /workspaces takes its fields only with `name` first";
    UnknownParameterRefused Layer "REQ-004" => "GET /workspaces refuses a query parameter that it does not know";
    UploadWithBoundary Inside "REQ-005" "FILE-001" => "an upload is stored with its multipart boundaries";
    PercentStays Inside "REQ-006" => "percent-encoded letters in a path are not decoded";
}
"authentication" {
    OneRouteOpen Inside "AUTH-001" => "GET /workspaces/{id}/stats needs no credential";
    AnyBearerPasses Inside "AUTH-002" => "any bearer token passes as a key, also one that is none";
    BodyBeforeCredential Layer "AUTH-003" => "a mutation without a credential is refused for its body first";
    SandboxToldBeforeCredential Inside "AUTH-003" => "without a credential GET /sandboxes/{id} is 403 for a sandbox that is there, 401 else";
    RevokedKeyLivesOn Inside "AUTH-004" => "a revoked key that was used lately works on until its cached answer goes";
    RotatedKeyLivesOn Inside "AUTH-005" => "after a rotation the old secret works on until its cached answer goes";
    ExpiryCached Inside "AUTH-006" => "whether a key has expired is looked at only when it is first used";
    SecretShownAgain Layer "AUTH-007" => "GET /api-keys/{id} shows the secret";
    BasicPasses Layer "AUTH-008" => "a key is taken with the scheme Basic, too";
    SchemeByLetter Layer "AUTH-008" => "`bearer` in small letters is refused";
    AddressesIgnored Inside "AUTH-009" => "`allowed_ips` of a key is kept and not looked at";
}
"scopes" {
    ScopeByPrefix Inside "SCP-006" "SCP-001" => "scopes are compared by the first letters of their resource";
    WriteReads Inside "SCP-001" => "a key that may write may read";
    RouteWithoutScope Inside "SCP-001" => "DELETE /sandboxes/{id} looks at no scope";
    ExecNeedsWrite Inside "SCP-002" => "exec asks for sandboxes:write instead of sandboxes:exec";
    MintsWider Inside "SCP-003" => "a key mints a key with scopes that it lacks";
    ForbiddenButDone Inside "SCP-004" => "changes of projects are done before their 403 is answered";
    BoundKeyListsAll Inside "SCP-005" "ISO-007" => "GET /sandboxes shows a key that is bound to a workspace those of all workspaces";
    BoundKeyMakesAnywhere Inside "SCP-005" "ISO-007" => "a key that is bound to a workspace makes sandboxes in any other";
}
"ownership" {
    UnknownWorkspaceIsDefault Inside "OWN-001" => "a create with an unknown workspace_id goes to the default workspace";
    SlugMadeEachTime Inside "OWN-002" => "a workspace_slug that was made by a create is made anew (slug-2) by the next";
    ExternalInSmallLetters Inside "OWN-003" => "external_user_id is kept in small letters";
    ExternalByPrefix Inside "OWN-003" "PAGE-010" => "a filter by an external id lets through those that begin with it";
    NoProjectInAnswer Layer "OWN-004" "ENV-006" => "POST /sandboxes answers project_id null";
    LastSelectorWins Inside "OWN-005" => "selectors that contradict each other are taken, the first wins";
    NewestIsDefault Inside "OWN-006" => "a create without a selector goes to the newest workspace";
    ForeignProjectTaken Inside "OWN-004" "OWN-005" => "a project of another workspace than the one that is named is taken";
}
"isolation" {
    ForeignSnapshotRead Inside "ISO-001" => "GET /snapshots/{id} answers another organization's";
    ForeignSandboxChanged Inside "ISO-004" "ISO-001" => "PATCH /sandboxes/{id} changes another organization's";
    ForeignKeyRead Inside "ISO-001" => "GET /api-keys/{id} answers another organization's";
    ForeignProjectsListed Inside "ISO-002" => "GET /projects holds those of all organizations";
    ForeignTotal Inside "ISO-003" => "`total` of GET /workspaces counts those of all organizations";
    SlugsGlobal Inside "ISO-005" => "a workspace slug that another organization has is refused";
    ExternalIdsGlobal Inside "ISO-005" => "POST /workspaces with another organization's external id answers that one's workspace";
    EventsOfAll Inside "ISO-006" => "the stream of events holds those of all organizations";
    NeighbourSnapshotRead Inside "ISO-007" => "a key that is bound to a workspace reads snapshots of another by their id";
    VariablesLeak Inside "ISO-008" => "commands get the variables of the sandbox that ran one before, too";
    ForeignIsForbidden Inside "ISO-009" "ISO-001" => "another organization's workspace is 403, an unknown one 404";
    ForeignIsTold Inside "ISO-009" => "404 for another organization's project says that it is elsewhere";
}
"pagination" {
    PageBeginsLate Inside "PAGE-001" => "the second page and later ones begin an item late";
    ProjectPagesOverlap Inside "PAGE-001" => "pages of projects begin with the last item of the one before";
    TotalOfPage Layer "PAGE-001" => "`total` is the number of items on the page";
    TenByDefault Inside "PAGE-002" => "10 items without page_size";
    SizeWithoutMost Inside "PAGE-003" "PAGE-002" => "page_size up to 1000 is taken";
    SizeClamped Inside "PAGE-003" => "a page_size out of bounds is clamped";
    PageZero Inside "PAGE-003" => "page=0 is the first page";
    BeyondIsMissing Layer "PAGE-004" => "a page beyond the end is 404";
    BeyondTotalsZero Layer "PAGE-004" => "a page beyond the end says total 0";
    CursorSkips Inside "PAGE-009" "PAGE-005" => "next_cursor names the first item of the next part, which then begins after it";
    DeletedListed Layer "PAGE-006" "LIFE-005" "LIFE-015" => "a deleted project stays in GET /projects";
    PageEchoed Layer "PAGE-007" => "`page.page_size` is always the default";
    PerPageIgnored Inside "PAGE-008" => "per_page is not read";
    OffsetFromOne Inside "PAGE-009" => "offset counts from 1";
    TotalUnfiltered Inside "PAGE-010" => "`total` of a filtered list counts all";
    StateIgnored Inside "PAGE-010" => "GET /sandboxes does not look at `state`";
    OldestFirst Inside "PAGE-011" => "workspaces are listed oldest first";
}
"idempotency" {
    SnapshotsTwice Layer "IDEM-001" => "POST /sandboxes/{id}/snapshots does not look at its key";
    BothRun Inside "IDEM-002" => "two at once with one key both run";
    OtherBodyReplayed Inside "IDEM-003" => "a key with another body answers the first body's answer";
    KeptAnHour Inside "IDEM-004" => "a key is remembered for an hour";
    KeptForever Inside "IDEM-004" => "a key is remembered for ever";
    KeysOfAll Inside "IDEM-005" => "a key means the same in every organization";
    LeaverForgotten Inside "IDEM-006" => "a request whose client goes away ends without its record";
    KeyByPrefix Layer "IDEM-007" => "only the first 16 characters of a key count";
    KeyWithoutCase Layer "IDEM-007" => "a key means the same in large and small letters";
    RawBodyCompared Inside "IDEM-008" => "the same JSON in another order or with other space counts as another body";
    RefusalsKept Layer "IDEM-009" => "a refusal (401, 403, 429) is kept under the key";
    ReplayWithoutLocation Layer "IDEM-010" => "a replay has no Location";
    ReplayIsOk Layer "IDEM-010" => "a replay of a 201 is 200";
    ReadsKept Layer "IDEM-011" => "GET with a key answers as the first time";
    LongKeyCut Layer "IDEM-012" => "a key of more than 255 characters is cut";
    KeyPerPath Layer "IDEM-013" => "the same key on another path runs";
    SameBodyOnce Layer "IDEM-014" => "POST /api-keys without a key is taken as the one before when its body is the same";
}
"rate limits" {
    LimitOneEarly Inside "RATE-001" => "the 300th request is refused";
    LimitOneLate Inside "RATE-001" => "the 301st request passes";
    LimitPerKey Inside "RATE-002" => "each key has a limit of its own";
    LimitPerConnection Inside "RATE-002" "RATE-001" => "each connection has a limit of its own";
    RetryAfterMilliseconds Layer "RATE-003" => "Retry-After is in milliseconds";
    RetryAfterOne Inside "RATE-003" => "Retry-After is always 1";
    RefusedProlongs Inside "RATE-003" => "a refused request begins the minute anew";
    RemainingJumps Layer "RATE-004" => "X-RateLimit-Remaining comes from two counters in turn";
    LimitPerOrganization Inside "RATE-005" => "the workspaces of an organization share a limit";
    LimitedButDone Inside "RATE-006" => "what is refused with 429 is done all the same";
    LimitedIsUnavailable Layer "RATE-006" => "429 is 503";
    StrangersUnlimited Inside "RATE-007" => "requests without a credential are not limited";
    AuthAsAny Inside "RATE-008" => "auth endpoints have the limit of all others";
}
"ids and times" {
    IdsOfTime Inside "IDT-001" => "ids of workspaces are UUIDs of version 7";
    IdWithoutDashes Layer "IDT-001" "ENV-009" => "GET /projects writes ids without dashes";
    PreviewIdAgain Inside "IDT-002" => "a preview of the same port has the same id again after it was deleted";
    TimeWithoutZone Layer "IDT-003" => "times have no zone";
    KeyTimesAsNumbers Layer "IDT-003" "ENV-006" => "created_at of an API key is a number";
    LocalTime Layer "IDT-004" => "created_at of a workspace is local time (UTC+2) that says it is UTC";
    UpdatedBeforeCreated Layer "IDT-004" => "updated_at of a new snapshot is before created_at";
    PatchUntold Inside "IDT-005" => "PATCH /projects/{id} leaves updated_at where it was";
    PatchIsBirth Inside "IDT-005" => "PATCH /sandboxes/{id} sets created_at, too";
    MalformedIdCrashes Inside "IDT-006" => "an id that is no UUID is a 500 where only ids can stand";
}
"life cycles" {
    PauseTwice Inside "LIFE-001" => "a paused sandbox can be paused again";
    ExtendsAnything Inside "LIFE-001" => "a paused sandbox can be extended";
    ConflictIsBad Layer "LIFE-001" => "an illegal transition of a sandbox is 400";
    SnapshotsDie Inside "LIFE-002" => "snapshots go with their sandbox";
    PreviewFlips Inside "LIFE-003" => "asking for a port's preview with another visibility answers the one that is there";
    FullWorkspaceGoes Inside "LIFE-004" => "a workspace that holds sandboxes can be deleted";
    FullProjectGoes Inside "LIFE-005" => "a project that holds sandboxes can be deleted";
    InactiveKeyWorks Inside "LIFE-006" => "an inactive key works";
    PatchClears Inside "LIFE-007" => "PATCH /projects/{id} without metadata clears it";
    PatchRenames Inside "LIFE-007" => "PATCH /workspaces/{id} with a name changes the slug, too";
    PatchTouchesNeighbour Inside "LIFE-007" "LIFE-005" => "PATCH /projects/{id} with a description changes the workspace's next project, too";
    TimeoutEndsAll Inside "LIFE-008" => "the timeout ends persistent sandboxes, too";
    LoserWins Inside "LIFE-009" => "a pause that waited for another pause answers 200, too";
    RestoreDoesNothing Inside "LIFE-010" => "a restore answers 200 and leaves the files as they are";
    ForkStartsEmpty Inside "LIFE-010" => "a fork starts from the template, not from the files";
    ToldTwice Inside "LIFE-011" => "a pause is told twice";
    ResumeUntold Inside "LIFE-011" => "a resume is not told";
    StateOfAnotherApi Layer "LIFE-012" "ENV-006" => "a paused sandbox is `suspended` in GET /sandboxes/{id}";
    NameTwice Inside "LIFE-013" => "two sandboxes can have one name";
    NameNeverFree Inside "LIFE-013" => "the name of a deleted sandbox stays taken";
    NeverIdle Inside "LIFE-014" => "an idle sandbox is not paused";
    AccountComesBack Layer "LIFE-015" => "a deleted service account stays in GET /service-accounts";
}
"files" {
    BytesAsText Inside "FILE-001" => "an upload is read as UTF-8, and bytes that are none are replaced";
    NewlineAdded Inside "FILE-001" => "fs/write adds a line end where the text has none";
    SizeInBlocks Inside "FILE-002" => "stat tells sizes in whole blocks of 512 bytes";
    DotfilesHidden Inside "FILE-003" => "a directory does not list names that begin with a dot";
    RenameCopies Inside "FILE-004" => "a rename leaves the old name";
    KernelFilesOpen Inside "FILE-005" => "fs/read reads /workspace/../proc/version";
    MissingIsEmpty Layer "FILE-006" => "reading a missing file answers an empty one";
    DownloadTypedJson Layer "FILE-007" => "downloads are typed application/json";
    RangeOffByOne Inside "FILE-007" => "the last byte of a range is left out";
    UploadLimitSoft Inside "FILE-008" => "a file of up to 12 MB is taken";
    DeleteByPrefix Inside "FILE-009" => "deleting a file deletes those whose names begin with its name, too";
    ArchiveWithoutDotfiles Inside "FILE-010" => "an archive leaves out names that begin with a dot";
    ChmodForgotten Inside "FILE-011" => "chmod answers 200 and changes nothing";
}
"exec" {
    ExitCodeCut Inside "EXEC-001" => "every exit code but 0 is 1";
    FailureIsError Layer "EXEC-001" => "a command that fails is 422";
    StderrLost Inside "EXEC-002" => "stderr of exec is empty";
    StderrMixed Inside "EXEC-002" => "stderr of exec stands in stdout";
    OutputCut Inside "EXEC-002" => "stdout of exec ends at 16 KiB, untold";
    CwdIgnored Inside "EXEC-003" => "cwd of exec is not looked at";
    StdinCut Inside "EXEC-003" => "the last byte of stdin is lost";
    TimeoutIgnored Inside "EXEC-004" => "a command may run twenty times as long as its timeout";
    TimeoutUntold Inside "EXEC-004" => "a command that was ended by its timeout looks as if it had succeeded";
    TimeoutClamped Inside "EXEC-005" => "a timeout out of bounds is clamped";
    OutputTrimmed Inside "EXEC-006" => "stdout of exec is trimmed";
    OneAtATime Inside "EXEC-007" => "commands of a sandbox run one after the other";
    ExecOnGoneBroken Layer "EXEC-008" => "exec on a sandbox that is not there is 502";
    ValuesShown Inside "EXEC-009" => "GET /sandboxes/{id}/env shows the values";
    KillAnswersOnly Inside "EXEC-010" => "ending a process answers its record and ends nothing";
}
"streams" {
    StreamWithoutExit Layer "STR-001" => "a stream ends without its last event";
    StreamTypedText Layer "STR-001" => "a stream is typed text/plain";
    LastLineLost Inside "STR-002" => "a stream drops a last line without its end";
    LinesSwapped Layer "STR-002" => "lines that come together are sent in the wrong order";
    StreamStaysOpen Layer "STR-003" => "a stream goes on with heartbeats after its last event";
    ResumeRepeats Inside "STR-004" => "Last-Event-ID begins with the event that it names";
    ResumeSkips Inside "STR-004" => "Last-Event-ID begins one event too late";
    StderrAsStdout Inside "STR-005" => "a stream calls stderr stdout";
    SocketWithoutExit Inside "STR-006" => "a WebSocket closes without telling the exit";
    LeaverStopsSandbox Inside "STR-007" => "a reader that goes away stops the sandbox";
}
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn names_and_sentences_are_unique() {
        let names: BTreeSet<String> = ALL.iter().map(|defect| defect.name()).collect();
        let sentences: BTreeSet<&str> = ALL.iter().map(|defect| defect.row().wrong).collect();
        assert_eq!((names.len(), sentences.len()), (ALL.len(), ALL.len()));
    }

    #[test]
    fn every_chapter_has_some_and_every_rule_is_well_formed() {
        let mut chapters: BTreeMap<&str, usize> = BTreeMap::new();
        for row in ALL.iter().map(|defect| defect.row()) {
            *chapters.entry(row.chapter).or_default() += 1;
            for rule in row.rules {
                let (chapter, number) = rule.split_once('-').unwrap();
                assert!(chapter.chars().all(|c| c.is_ascii_uppercase()), "{rule}");
                assert!(number.len() == 3 && number.parse::<u16>().is_ok(), "{rule}");
            }
        }
        assert_eq!(chapters.len(), 16, "{chapters:?}");
        assert!(chapters.values().all(|count| *count >= 4), "{chapters:?}");
    }
}
