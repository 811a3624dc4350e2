//! Operations as the rules about access draw them.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use miosa_openapi::check::{Contract, Operation};
use uuid::Uuid;

use crate::case::{Client, Reply, Sending};
use crate::each::{Each, each};
use crate::fault::Fault;
use crate::session::Session;
use crate::target::Profile;
use crate::world::World;

/// How many operations a case tries on a server that counts its requests.
const FEW: usize = 12;

/// What is refused is refused within this; what is a stream instead would not end.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// An operation of the contract. Its text is its method and path.
#[derive(Clone, Copy)]
pub struct Op(pub &'static Operation);

impl Deref for Op {
    type Target = Operation;
    fn deref(&self) -> &Operation {
        self.0
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())
    }
}

impl Op {
    /// All that there are.
    pub fn all() -> Vec<Self> {
        Contract::get().operations().iter().map(Self).collect()
    }

    /// All that need a credential.
    pub fn guarded() -> Vec<Self> {
        Self::all().into_iter().filter(|op| !op.is_open()).collect()
    }

    /// All that need this scope, or any scope.
    pub fn scoped(scope: Option<&str>) -> Vec<Self> {
        let fits = |op: &Self| op.scope().is_some_and(|of| scope.is_none_or(|scope| scope == of));
        Self::all().into_iter().filter(fits).collect()
    }

    /// A request about things that nothing has, with a body that is no object: it does nothing, whoever may send it.
    pub fn blank(self, client: &Client) -> Sending {
        self.blank_with(client, "")
    }

    /// The same with a query.
    pub fn blank_with(self, client: &Client, query: &str) -> Sending {
        let path = World::path_with(self.0, |_, _| Uuid::new_v4().to_string()) + query;
        let sending = client.request(self.method().clone(), path).within(REFUSED_WITHIN);
        match self.request_body() {
            Some(_) => sending.json("nothing".into()),
            None => sending,
        }
    }

    /// The valid request about what a world has, whoever sends it; none when the world lacks what it names.
    pub fn valid(self, client: &Client, world: &World) -> Option<Sending> {
        Some(world.call(client, self.0)?.within(REFUSED_WITHIN))
    }
}

/// All of them in each case; on a server that counts its requests, some.
pub fn sweep<T: Clone + fmt::Debug>(session: &Session, items: Vec<T>) -> Each<T> {
    let most = match session.target.profile {
        Profile::Emulator => items.len(),
        Profile::Live => FEW,
    };
    each(items).at_most(most)
}

/// The answer is 401, in the one shape.
///
/// # Errors
/// [`Fault::Broken`] when it is not; [`Fault::Unable`] where a live server counted too many requests without a credential.
pub fn unauthorized(reply: &Reply) -> Result<(), Fault> {
    if reply.status == 429 && reply.case().target().profile == Profile::Live {
        return Err(Fault::unable("too many requests without a credential from this address"));
    }
    reply.refused(401).map(drop)
}
