//! What sqlx asks of a kind of database and the `Any` driver never uses: nobody makes one of these.

use std::borrow::Cow;
use std::fmt;

use sqlx::error::BoxDynError;
use sqlx::{
    Arguments, Column, ColumnIndex, Either, Encode, Error, FromRow, IntoArguments, Row, SqlStr,
    Statement, Type, TypeInfo, Value, ValueRef,
};
use sqlx_core::query::Query;
use sqlx_core::query_as::QueryAs;
use sqlx_core::query_scalar::QueryScalar;

use super::InThread;

/// A row, a column, a type, a value and a statement of which there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Row for Never {
    type Database = InThread;

    fn columns(&self) -> &[Self] {
        match *self {}
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, _: I) -> Result<Self, Error> {
        match *self {}
    }
}

impl Column for Never {
    type Database = InThread;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Self {
        match *self {}
    }
}

impl TypeInfo for Never {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl Value for Never {
    type Database = InThread;

    fn as_ref(&self) -> Self {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Self> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl ValueRef<'_> for Never {
    type Database = InThread;

    fn to_owned(&self) -> Self {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Self> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl Statement for Never {
    type Database = InThread;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<Either<&[Self], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Self] {
        match *self {}
    }

    fn query(&self) -> Query<'_, InThread, NoArguments> {
        match *self {}
    }

    fn query_with<A: IntoArguments<InThread>>(&self, _: A) -> Query<'_, InThread, A> {
        match *self {}
    }

    fn query_as<O: for<'r> FromRow<'r, Self>>(&self) -> QueryAs<'_, InThread, O, NoArguments> {
        match *self {}
    }

    fn query_as_with<'s, O, A>(&'s self, _: A) -> QueryAs<'s, InThread, O, A>
    where
        O: for<'r> FromRow<'r, Self>,
        A: IntoArguments<InThread>,
    {
        match *self {}
    }

    fn query_scalar<O>(&self) -> QueryScalar<'_, InThread, O, NoArguments>
    where
        (O,): for<'r> FromRow<'r, Self>,
    {
        match *self {}
    }

    fn query_scalar_with<'s, O, A>(&'s self, _: A) -> QueryScalar<'s, InThread, O, A>
    where
        (O,): for<'r> FromRow<'r, Self>,
        A: IntoArguments<InThread>,
    {
        match *self {}
    }
}

/// Arguments that no statement takes.
#[derive(Debug, Default)]
pub(super) struct NoArguments;

impl Arguments for NoArguments {
    type Database = InThread;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T>(&mut self, _: T) -> Result<(), BoxDynError>
    where
        T: Encode<'t, InThread> + Type<InThread>,
    {
        Err("statements go through the driver for any database".into())
    }

    fn len(&self) -> usize {
        0
    }
}
